// Package transporttest is the conformance suite of package transport: it tells the author of a plug-in whether the plug-in keeps
// the contract, and which rule it breaks if it does not.
//
// # Adoption
//
// A test of a plug-in is a factory, and one line:
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
// Every rule is a named subtest: go test -run TestMyPlugin/Writev runs one alone. [Check] does the same outside a test and returns the
// broken rules as errors, each a [*RuleError] that names the rule, says what it demands and how it was broken. For a carrier that listens
// at paths, the factory gives another path with every call; for an in-memory carrier it may make a new world each time.
//
// # What is tested
//
// The suite sees a plug-in as its users do, through a transport.Transport: what package transport (here called the SDK) makes of the
// callbacks has to behave as the contract says. The rules are tested one after the other, those on which others rest first: addresses,
// descriptors, their mode and that no child gets them, counts and contents of reads and writes, time-outs of every length on every
// operation, cancellation, concurrent use, the end of a stream in its several forms, closing, the handshake's hooks, moving to another
// process, and leaks. go test -v names them all. What the SDK itself catches (a count out of range, a panic, a callback that does not
// return) is reported under the rule that was broken, whichever was being tested.
//
// Nothing has to be declared. The suite sees which optional fields are nil, and skips the rules about them, with the reason. It also skips
// rules for which the carrier gives no occasion: one that takes any number of unread bytes has no write that waits.
//
// [RunDatagram] and [CheckDatagram] do the same for datagram sockets.
//
// # Soundness
//
// A good plug-in is not accused, not even on a busy machine, and several suites may run at once in one process:
//
//   - No rule is about speed. What must happen may take ten seconds without any progress, and twenty minutes with it (which is more than go
//     test allows by itself). What must not happen is watched for only a moment, so that haste can hide a fault but not invent one.
//   - A rule that was broken only by lateness is tried three times before it is reported: on an extremely busy machine, the SDK's own limit
//     of one second for a callback that has been ended can hit a good plug-in.
//   - A carrier need not hold what nobody reads: writes run beside the reads of the other end. Nor need its ends be used in turn: Connect
//     may wait until the accepting end reads, as with a handshake of its own, and the hooks of the two ends may speak to each other.
//   - CheckPeer may refuse the suite's node name, transporttest@localhost. That connection is closed, and the hooks are called on another
//     one, without CheckPeer; a hook that fails there is not accused, for it may need a name.
//   - Connections from strangers to a listener (any program may try a TCP port) are recognised by their address and left alone.
//   - A leak is what grows with the number of connections, counted in goroutines that descend from the suite's own and in descriptors that
//     stay the same. A process that itself opens descriptors by the dozen and keeps them, again and again while a suite runs, can look like
//     one.
//
// # What is not found
//
// Faults can stay hidden (false negatives). The known ones:
//
//   - What the SDK hides: after a premature time-out the SDK tries again; without Interrupt a Write or Connect that outstays its time is
//     ended by shutdown(2).
//   - A second close(2) of a descriptor whose error is thrown away. It harms whoever has been given the number meanwhile, which cannot be
//     shown without harm.
//   - GetFD giving a descriptor that is stable and its own, but not the connection's, of a FullImpl plug-in without Import: nothing
//     uses it.
//   - A descriptor that becomes close-on-exec a moment after it was made, by a call of its own, without syscall.ForkLock.
//   - A race that shows rarely. Run the suite with -race and -count.
//   - Peer names that CheckPeer ought to refuse, and anything else about security: the suite does not know whom to trust.
//   - A time-out that comes late, by up to ten seconds, and a Connect that with a time of 0 never succeeds, where another one would.
//   - Bytes that Write has counted and keeps until the next Write comes, at the end of its time; a carrier over which time rarely ends
//     inside a frame hides it.
//   - A listener that cannot be opened again where one was, while connections of that one linger (SO_REUSEADDR).
//   - A wrong peer address of a plug-in that has no LocalAddr to compare it with, or one that differs from connection to connection, and
//     so could be a proxy's.
//   - Pending that counts too few bytes, or less than a megabyte too many.
//   - Bytes that a plug-in keeps for less time than a move takes, a goroutine that writes beside Export or Import, and one at the old place
//     that appears only after a moment: a slow machine can hide them, but accuses nobody.
//   - Leaks of fewer than one descriptor or goroutine for each connection, of memory, and of goroutines started by timers.
//   - Where descriptors are not listed in /proc/self/fd or /dev/fd, leaked descriptors; outside Linux, the descriptor's mode, whether it is
//     close-on-exec, and what a reset is taken for; where descriptors cannot be duplicated, moving.
//   - What a reset is taken for by FullImpl plug-ins and over sockets other than TCP: the suite cannot reset them.
//   - An Addr of a kind of its own is compared by Network and String only.
package transporttest
