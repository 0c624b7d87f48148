package gate

import "github.com/cnode-go/cnode/internal/test/otp"

// Patient gives handshakes the time that the nodes of tests give them: a machine may be so busy.
func (o *Options) Patient() *Options {
	o.setupTime = otp.HandshakeTime
	return o
}

// Place is where a BEAM's table of atoms has one.
var Place = slotOf

// NodePlace is where a BEAM's table of nodes has one, if its size has so many bits.
func NodePlace(name string, creation uint32, bits int) uint64 {
	return slot((hashOf(name)+uint64(creation))*nodePrime, bits)
}

// ForgetTies leaves a gate what it knows of links and monitors from one that knew of none.
func (g *Gate) ForgetTies() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for x := range g.sessions {
		x.filter.mu.Lock()
		x.filter.ties = ties{Partial: true}
		x.filter.mu.Unlock()
	}
}
