package service

// A Kept is what was parked of an owner: its state and descriptors, which are the receiver's.
type Kept struct {
	State []byte
	FDs   []int

	names  []string // by which systemd has them; none: it has not
	opened []int    // the sockets that systemd has opened itself
}
