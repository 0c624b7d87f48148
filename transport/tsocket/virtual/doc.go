// Package virtual makes datagram sockets over any other [tsocket.Socket], which the new one uses
// and closes: [Fault] makes them misbehave in a repeatable way, for tests; [Limit] makes them slow;
// [Trace] shows what passes, in a log or to Wireshark. They can be stacked in any order. See the
// tsocket guide, "Virtual Sockets". Package transport/virtual does so for streams.
package virtual
