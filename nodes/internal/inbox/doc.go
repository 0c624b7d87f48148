// Package inbox is the queue of a process: what has come and was not received yet, in order, up to
// a limit of memory; what has come with priority, before the rest; and beyond the limit, what the
// node keeps of its peers nevertheless (overflow).
//
// Nothing here locks: the process's lock is held around every call. What waits, for a message or
// for room, waits for the channels that an Inbox hands out.
package inbox
