//go:build !unix

package cnodews_test

import (
	"testing"
	"time"
)

func processorTime(*testing.T) time.Duration { return 0 }
