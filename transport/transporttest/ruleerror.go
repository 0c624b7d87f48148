package transporttest

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/transport"
)

// A RuleError reports a rule of the contract that the plug-in broke.
type RuleError struct {
	Rule     string // its name, which is that of Run's subtest
	Sentence string // what the rule demands
	During   string // the rule that was being tried when this was found
	Err      error  // how it was broken
}

// Error names the rule, how it was broken, and what it says.
func (e *RuleError) Error() string {
	during := ""
	if e.During != e.Rule {
		during = fmt.Sprintf(" (seen while trying %s)", e.During)
	}
	return fmt.Sprintf("rule %s is broken%s: %v (the rule: %s)", e.Rule, during, e.Err, e.Sentence)
}

// Unwrap gives how it was broken.
func (e *RuleError) Unwrap() error { return e.Err }

// culprit returns the rule that is broken if err is one in which the SDK itself reports a fault of
// the plug-in, whichever rule is being tried; else trying.
func culprit(err error, trying string) string {
	var cb *transport.CallbackError
	switch {
	case !errors.As(err, &cb):
		return trying
	case errors.Is(err, transport.ErrPanic):
		return "NoPanic"
	case errors.Is(err, transport.ErrUnresponsive):
		return "Returns"
	}
	switch cb.Callback {
	case "Read":
		return "ReadCount"
	case "Write", "Writev":
		return "WriteCount"
	case "GetFD":
		return "Descriptor"
	case "Listen":
		return "BoundAddress"
	case "HandshakePacketHeaderSize", "FrameHeaderSize":
		return "HeaderSize"
	case "Pending":
		return "PendingBytes"
	case "Import":
		return "RefusedImport"
	}
	return trying
}
