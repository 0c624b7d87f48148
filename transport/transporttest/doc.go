// Package transporttest is the conformance suite of package transport: it tells the author of a
// plug-in whether the plug-in keeps the contract, and if not, which rules it breaks.
//
// # Adoption
//
// To test a plug-in, write a factory and one line:
//
//	func TestMyPlugin(t *testing.T) {
//		tr, err := transport.New(myCallbacks(), nil)
//		if err != nil {
//			t.Fatal(err)
//		}
//		transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
//			addr, err := transport.ParseAddr("127.0.0.1:0")
//			return tr, addr, err
//		})
//	}
//
// Every rule is a named subtest: go test -run TestMyPlugin/Writev runs one alone. [Check] does the
// same outside a test and returns the broken rules as errors, each a [*RuleError] that names the
// rule, says what it demands and how it was broken. For a carrier that listens at paths, the
// factory returns another path with every call; for an in-memory carrier it may make a new
// transport each time.
//
// # What is tested
//
// The suite sees a plug-in as its users do, through a transport.Transport: what package transport
// (here called the SDK) makes of the callbacks has to behave as the contract says. The rules are
// tested one after the other, beginning with those on which others depend: addresses, descriptors,
// their mode and close-on-exec, counts and contents of reads and writes, time-outs of every length
// on every operation, cancellation, concurrent use, the end of a stream in its several forms,
// closing, the handshake's hooks, moving to another process, and leaks. go test -v names them all.
// What the SDK itself catches (a count out of range, a panic, a callback that does not return) is
// reported under the rule that was broken, whichever rule was being tested.
//
// Nothing has to be declared. The suite sees which optional fields are nil, and skips the rules
// about them, with the reason. It also skips rules that cannot be tested with a carrier: if the
// carrier takes any number of unread bytes, no write ever waits.
//
// A good plug-in is not accused, not even on a busy machine, and several suites may run at once in
// one process; no rule is about speed. Faults can stay hidden: docs/reference/conformance.md lists
// the known ones.
//
// Package tsockettest of the module transport/tsocket does the same for datagram sockets.
//
// # Stability
//
// The functions are stable. The suite gets new rules in minor versions, which a plug-in that passed
// may then fail; Rule in a RuleError may change.
package transporttest
