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
// Every rule is a subtest with a name of its own: go test -run TestMyPlugin/Writev tries one alone. [Check] does the same outside
// a test and returns the broken rules as errors, each a [*RuleError] that names the rule, says what it demands and how it was broken.
// A test over a carrier that listens at paths gives another path with every call; one over an in-memory carrier may make a new world
// each time.
//
// # What is tried
//
// The suite sees a plug-in as its users do, through a transport.Transport: what package transport, the SDK below, makes of the callbacks
// has to behave as the contract says. The rules are tried one after the other, those on which others rest first: addresses, descriptors and
// their mode, counts and contents of reads and writes, time-outs of every length on every operation, cancellation, concurrent use, the end
// of a stream in its several forms, closing, the handshake's hooks, moving to another process, and leaks. go test -v names them all. What
// the SDK itself catches (a count out of range, a panic, a callback that does not come back) is reported by the rule that was broken,
// whichever was being tried.
//
// Nothing has to be declared. A nil optional field shows by itself, and the rules about it are skipped, with the reason. So are rules
// for which the carrier gives no occasion: one that takes any number of bytes that nobody reads has no write that waits.
//
// [RunDatagram] and [CheckDatagram] do the same for datagram sockets.
//
// # Soundness
//
// A good plug-in is not accused, on a busy machine either, and several suites may run at once in one process:
//
//   - No rule is about speed. What must happen may take ten seconds without any progress, and twenty minutes with it (which is more than
//     go test allows by itself). What must not happen is looked for for a moment only, so that haste can hide a fault but not invent one.
//   - A rule that was broken by nothing but coming late is tried three times before it is reported: on a machine that is busy
//     beyond measure, the SDK's own limit of one second for a callback that has been ended can hit a good plug-in.
//   - A carrier need not hold what nobody reads: writes run beside the reads of the other end. Nor need its ends be used in turn: Connect
//     may wait until the accepting end reads, as with a handshake of its own, and the hooks of the two ends may speak to each other.
//   - CheckPeer may refuse the suite's node name, transporttest@localhost. That connection is closed, and the hooks are called on another
//     one, without CheckPeer; one that fails there is not accused of it, for it may want a name.
//   - Connections of strangers to a listener (any program may try a TCP port) are told by their address and left alone.
//   - A leak is what grows with the number of connections, by goroutines that descend from the suite's own and by descriptors
//     that stay the same ones. A process that itself opens descriptors by the dozen and keeps them, again and again while a
//     suite runs, can look like one.
//
// # What is not found
//
// Faults can stay hidden (false negatives). Those known:
//
//   - What the SDK hides: a time-out that comes before its time is tried again by the SDK; without Interrupt a Write or Connect
//     that outstays its time is ended by shutdown(2).
//   - A second close(2) of a descriptor whose error is thrown away. It harms whoever has got the number meanwhile, which
//     cannot be shown without harm.
//   - GetFD giving a descriptor that is stable and its own, but not the connection's, of a FullImpl plug-in without Import: nothing
//     uses it.
//   - A race that shows rarely. Run the suite with -race and -count.
//   - Peer names that CheckPeer ought to refuse, and anything else about security: the suite does not know whom to trust.
//   - Pending that counts too few bytes, or less than a megabyte too many.
//   - Bytes that a move loses only when there are many, or that a plug-in keeps for less time than a move takes, and a goroutine at
//     the old place that comes later than a moment: a machine that is slow can hide either, and accuses nobody of it.
//   - Leaks of fewer than one descriptor or goroutine for each connection, of memory, and of goroutines started by timers.
//   - Where descriptors are not listed in /proc/self/fd or /dev/fd, leaked descriptors; outside Linux, the descriptor's mode, and what a
//     reset is taken for; where descriptors cannot be duplicated, moving.
//   - What a reset is taken for by FullImpl plug-ins and over other sockets than TCP ones: the suite cannot reset them.
//   - An Addr of a kind of its own is compared by Network and String only.
package transporttest
