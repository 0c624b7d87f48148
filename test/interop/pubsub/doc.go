// Package pubsub runs nodes/pubsub against Elixir nodes, each with Elixir 1.14, 1.18 and 1.20.
//
// The Hex packages are not to be had where the tests run, so the nodes run counterparts, written
// for this, of Phoenix.PubSub and Phoenix.Tracker (testdata/pubsub.ex, testdata/tracker.ex). If
// CNODE_TEST_PHOENIX_PUBSUB names the folder lib/ of the sources of phoenix_pubsub 2.x, the nodes
// run these instead:
//
//	git clone https://github.com/phoenixframework/phoenix_pubsub /tmp/phoenix_pubsub
//	CNODE_TEST_PHOENIX_PUBSUB=/tmp/phoenix_pubsub/lib go test ./test/interop/pubsub
package pubsub
