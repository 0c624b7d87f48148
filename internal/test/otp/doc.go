// Package otp starts real Erlang nodes for tests and talks to them.
//
// A [Release] is one installed Erlang/OTP. [Find] (in a test: [Releases], [Each])
// takes the releases from the environment variable CNODE_TEST_OTP, a list
// such as "25=/usr/bin/erl 27=/opt/otp-27/bin/erl", and without it the erl on
// the PATH. A test without a release is skipped, with the reason; if
// CNODE_TEST_REQUIRE is set, as by test/run.sh, it fails, and so does a list
// that lacks one of the releases the project is tested with.
//
// A [Node] is one running erl. It has a home directory, a cookie file and a port
// mapper of its own and listens on the loopback interface only, so that neither
// another test nor an Erlang of the machine's owner can meet it. Start returns
// when the node is up: it says so itself, over a pipe that also carries the
// expressions to evaluate and their values. The node's own output, including
// its logger's, goes elsewhere and is shown when the test fails.
//
//	func TestPing(t *testing.T) {
//		otp.Each(t, func(t *testing.T, r otp.Release) {
//			port := r.Epmd(t)
//			a := r.Start(t, otp.Options{EpmdPort: port})
//			b := r.Start(t, otp.Options{EpmdPort: port})
//			require.Equal(t, "pong", a.Eval(t, "net_adm:ping('"+b.Name()+"')"))
//		})
//	}
//
// Everything started here ends with the test, and also when the test's own
// process dies without its clean-up: nodes, port mappers and programs wait for
// the end of a pipe that this process holds open.
//
// Functions without a testing.TB parameter return errors instead of failing a
// test: the benchmarks use them.
package otp
