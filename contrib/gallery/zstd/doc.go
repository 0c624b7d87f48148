// Package cnodezstd carries connections over TCP, with what is sent compressed by zstd (RFC 8878).
// One wants it on a line that is slow, metered or shared, for large messages of text, lists or
// structs, between nodes that trust the network or are inside a VPN; on a quick line compression
// takes longer than it saves. Both ends must have it. UNIX only.
//
// It moves to another process. A stream of zstd has a window of what came before, which the library
// does not give away, and a peer that must not notice the move goes on with its own. So each write
// is a frame by itself, of up to 64 KiB, and between two frames there is no state: what moves is
// bytes only. The price is that small messages find nothing to refer to, and go out as they are.
package cnodezstd
