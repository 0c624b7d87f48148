package gate

import "github.com/cnode-go/cnode/internal/test/otp"

// Patient gives handshakes the time that the nodes of tests give them: a machine may be so busy.
func (o *Options) Patient() *Options {
	o.setupTime = otp.HandshakeTime
	return o
}

// Place is where a BEAM's table of atoms has one.
var Place = slotOf

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
