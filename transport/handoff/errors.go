package handoff

import (
	"errors"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

var (
	// errNoDescriptor says that a set has no descriptor at an index: there never was one, or it has
	// been stolen.
	errNoDescriptor = errors.New("the set has no descriptor there")
	// ErrTruncated says that a packet was longer than the buffer or the limit for it (MSG_TRUNC).
	// The packet is lost, its descriptors are closed.
	ErrTruncated = errors.New("the packet is longer than the room for it")
	// ErrDescriptorsLost says that more descriptors were sent than have arrived, or than there is
	// room for (MSG_CTRUNC): there were too many, the process has no free descriptor number
	// (RLIMIT_NOFILE), or a security module refused. Those that did arrive are closed.
	ErrDescriptorsLost = errors.New("descriptors were lost on arrival: more than expected, no number free, or refused by the system")
	// ErrAncillary says that ancillary data of another kind than descriptors came; all descriptors
	// beside it are closed.
	ErrAncillary = errors.New("ancillary data that is not of descriptors")
	// ErrLate says that the rest of a session, or of a framed message, did not come in time. It
	// wraps os.ErrDeadlineExceeded, which under transport.NoWait means that nothing is lost. After
	// ErrLate, however, nothing more can be received.
	ErrLate = errors.New("the rest of the message did not come in time")
	// ErrMalformed says that what came does not follow the carrier's format, or contradicts itself.
	ErrMalformed = fault.ErrMalformed
	// ErrForbidden says that the peer's credentials, or the owner or the mode of a directory, do
	// not allow what is asked for.
	ErrForbidden = errors.New("hand-off not permitted")
)
