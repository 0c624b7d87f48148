package supervisor

import "time"

// SetLeaving sets how long a new process waits for the one before, and gives how long that was.
func SetLeaving(d time.Duration) (before time.Duration) {
	return time.Duration(leaving.Swap(int64(d)))
}
