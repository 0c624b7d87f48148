package sys

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

func Unacknowledged(fd int) (time.Duration, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EINVAL):
		return 0, errors.ErrUnsupported
	case err != nil:
		return 0, err
	case info.Unacked == 0 && info.Probes == 0: // probes ask for room; an answer ends their count
		return 0, nil
	case info.Retransmits == 0 && info.Probes == 0:
		// Sent just now, after a silence perhaps, to which nobody owed an answer.
		return time.Duration(min(info.Last_ack_recv, info.Last_data_sent)) * time.Millisecond, nil
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond, nil
}
