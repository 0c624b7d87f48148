package gate

import "github.com/cnode-go/cnode/internal/test/otp"

func init() { setupTime = otp.HandshakeTime } // as the nodes of tests have: a machine may be so busy
