// Package link is one connection to another node, or to another worker of this one, up to where a
// frame is a message: it writes frames and reads them, keeps the connection alive by ticks, counts
// what goes through, lets it stand still for a move to another process, and ends it. It knows no
// processes, names, calls or workers.
//
// # Who calls it
//
// A Conn has one reader at a time: whoever holds its Turn. The reader calls Receive, which fills a
// control message, a payload and the memory that both are in, then Resolve unless nobody is to get
// the message, and Pass while it waits for what it needs to pass the message on. Any goroutine
// sends: see How. A Conn has a timer of its own, for its ticks.
//
// A connection that moves stands still in two steps: StopReading stops its reader between two
// messages, and Suspend all else. Then either both are undone, the later first, or Snapshot
// describes it, and GiveUp ends it here. Stage is the beginning of the other process's side: there
// it stands still until both are undone.
//
// # What it tells
//
// Whoever stands above a Conn hears of three moments, on the goroutine on which they happen: see
// Above. Everything that a Conn needs of its node is in Env, of which only Meter changes while
// there are Conns. Its errors do not name the peer: the package above adds that.
//
// # Who may block
//
// SendTerm, SendControl, SendMany, AwaitRoom, Flush, and Send unless it is Now, wait for the peer
// to read, until their context ends. Close waits until Above.Ended has returned, and Suspend and
// StopReading for what is in progress. Receive waits for the peer. Send that is Now, Fail, Breach
// and Complain do not wait: the reader calls them, and two nodes whose readers wait for each other
// would wait for ever.
package link
