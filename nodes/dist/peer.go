package dist

// Versions of the handshake.
const (
	// OTP 22 and older; OTP 23 and 24 speak it, too, to a node that no port mapper has told them about
	Version5 = 5
	Version6 = 6 // OTP 23 and later
)

// Status is the word by which the accepting side answers a name, and the connecting side an
// "alive": ok; ok_simultaneous, by which the accepting side gives up its own attempt; nok, by which
// that goes on instead; not_allowed; alive, if there is a connection already; named:, if a dynamic
// name follows; true and false. Any other is kept as the peer sent it.
//
// See erl_dist_protocol, send_status.
type Status string

// Peer is the outcome of a handshake.
type Peer struct {
	Name         string // the peer's node name (for a dynamic peer: the given one)
	Creation     uint32 // the peer's creation (for a dynamic peer: the given one)
	Flags        Flags  // negotiated: what the connection may use
	Announced    Flags  // the peer's own word
	Version      int    // Version6 or Version5
	Status       Status // the status that opened the way: ok, ok_simultaneous, alive or named:
	SelfName     string // our own name; for a dynamic node as given by the peer
	SelfCreation uint32 // our own creation; for a dynamic node as given by the peer
}
