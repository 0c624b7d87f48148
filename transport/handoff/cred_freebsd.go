package handoff

func peerPID(int) int { return -1 }
