package gate

import "github.com/cnode-go/cnode/internal/test/otp"

// Patient gives handshakes the time that the nodes of tests give them: a machine may be so busy.
func (o *Options) Patient() *Options {
	o.setupTime = otp.HandshakeTime
	return o
}
