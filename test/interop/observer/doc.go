// Package observer holds the tests of nodes/observer against the tools that real Erlang and Elixir
// nodes have: what Observer asks for each of its pages, etop, the shell's helpers, IEx's, and
// LiveDashboard's module SystemInfo.
//
// CNODE_TEST_LIVE_DASHBOARD names the folder lib/ of the sources of phoenix_live_dashboard, which
// is not a part of Debian; without it that test is skipped.
//
//	CNODE_TEST_LIVE_DASHBOARD=/tmp/phoenix_live_dashboard/lib go test ./test/interop/observer
package observer
