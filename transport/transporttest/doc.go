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
// [RunDatagram] and [CheckDatagram] do the same for datagram sockets.
//
// # Soundness
//
// A good plug-in is not accused, not even on a busy machine, and several suites may run at once in
// one process:
//
//   - No rule is about speed. What must happen may take ten seconds without any progress, and
//     twenty minutes with progress (which is more than go test allows by default). For what must
//     not happen the suite waits only a moment: that can hide a fault, but not invent one.
//   - A rule that was broken only by lateness is tried three times before it is reported: on an
//     extremely busy machine, the SDK's own limit of one second for a callback that has been ended
//     can hit a good plug-in.
//   - A carrier need not hold unread bytes: writes run at the same time as the other end's reads.
//     Connect may wait until the accepting end reads, as with a handshake of the carrier's own, and
//     the hooks of the two ends may talk to each other.
//   - CheckPeer may refuse the suite's node name, transporttest@localhost. Then the suite closes
//     that connection, and calls the hooks on another one, without CheckPeer; if a hook fails
//     there, that is not reported, because the hook may need a name.
//   - Connections from strangers to a listener (any program may try a TCP port) are recognised by
//     their address and left alone.
//   - A leak is a number that grows with the number of connections: of goroutines that descend from
//     the suite's own, or of descriptors that stay the same. A process that keeps opening
//     descriptors by the dozen while a suite runs, and keeps them open, can look like a leak.
//
// # What is not found
//
// Faults can stay hidden (false negatives). The known ones:
//
//   - What the SDK hides: after a premature time-out the SDK tries again; without Interrupt, the
//     SDK ends a Write or Connect that exceeds its time by shutdown(2).
//   - A second close(2) of a descriptor whose error is thrown away. It closes the descriptor that
//     has been given the same number meanwhile, which cannot be shown without doing harm.
//   - A GetFD of a FullImpl plug-in without Import that returns a stable descriptor of its own
//     which is not the connection's: nothing uses that descriptor.
//   - With FullImpl, the mode in which Socket and Listen leave a descriptor: it need not exist
//     before, and so has no mode to be left alone.
//   - A LocalAddr that always fails. It is like none: where it does not tell, a user of the stream
//     sees no address, and no error.
//   - A LocalAddr of a connecting stream that is 0.0.0.0:0, as where a channel of another
//     connection is the carrier.
//   - A descriptor that is made close-on-exec by a separate call, a moment after it was made,
//     without syscall.ForkLock.
//   - A race that shows rarely. Run the suite with -race and -count.
//   - Peer names that CheckPeer ought to refuse, and anything else about security: the suite does
//     not know whom to trust.
//   - A time-out that comes late, by up to ten seconds, and a Connect that never succeeds with a
//     time of 0, even where it could.
//   - Bytes that a Write has counted when its time ended, but keeps until the next Write. A carrier
//     hides this if a time-out rarely falls within a frame.
//   - A connection that was not accepted and outlives its listener.
//   - A listener that cannot be opened again at its address while connections of the former
//     listener linger (SO_REUSEADDR).
//   - A wrong peer address, if the plug-in has no LocalAddr to compare it with, or if the address
//     differs from connection to connection and so could be a proxy's.
//   - Pending that counts too few bytes, or less than a megabyte too many.
//   - Bytes that a plug-in keeps for less time than a move takes, a goroutine that writes during
//     Export or Import, and a goroutine of the old stream that becomes active only after a moment:
//     a slow machine can hide these, but never makes a good plug-in fail.
//   - Leaks of fewer than one descriptor or goroutine for each connection, of memory, of goroutines
//     started by timers, and of what the garbage collector closes in the end, such as a
//     transport.Waiter.
//   - Where descriptors are not listed in /proc/self/fd or /dev/fd, leaked descriptors; outside
//     Linux, the descriptor's mode, whether it is close-on-exec, and how a reset is reported; where
//     descriptors cannot be duplicated, moving.
//   - How a reset is reported by FullImpl plug-ins and over sockets other than TCP: the suite
//     cannot reset those.
//   - Differences between addresses of a plug-in's own kind: they are compared by Network and
//     String only.
package transporttest
