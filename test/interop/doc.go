// Package interop holds the tests against peers written by others: real Erlang nodes of OTP 25, 27
// and 29, programs that use the C library (folder libei), and ergo, an independent implementation
// in Go.
//
// Each file has one topic. Those called serve_… look at us from the Erlang side: they start the
// program cnode-demo serve, built with the race detector, and evaluate Erlang expressions in a real
// node. The others look at the Erlang side from a node inside the test.
//
// CNODE_TEST_TLS=1.2 (or 1.3) makes all nodes talk over TLS, and CNODE_TEST_FAULT=SEED our nodes
// over TCP with faults, a split and a delay at every byte of a handshake among them; tests that
// cannot do so say why. Without these TestConversationsOverTLS and TestFaultyStreams do.
//
// TestSlowLine has a slow line between two network namespaces (package internal/test/line), which
// takes Linux and root.
//
// test/run.sh installs the peers. Without them the tests are skipped, with the reason; if
// CNODE_TEST_REQUIRE is set they fail.
package interop
