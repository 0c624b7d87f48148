package stay

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/transport/handoff/service"
)

// A child is a process whose parent this one is, by birth or because the one before has ended.
type child struct {
	pid   int
	since uint64 // when it was started, in the kernel's ticks
}

// successor gives the process that was started to go on in place of one that has just ended; 0:
// there is none. Its parent is this process now: the kernel changes that before anybody can see
// the end. Of several the last one started is the one: another was refused, and is about to end.
func successor() (pid int, err error) {
	all, err := children()
	if err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(c child) bool { return !succeeds(c.pid) })
	if len(all) == 0 {
		return 0, nil
	}
	return slices.MaxFunc(all, func(a, b child) int {
		if a.since < b.since {
			return -1
		}
		return 1
	}).pid, nil
}

// children are this process's, but for those that have ended.
func children() (list []child, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// One that has ended meanwhile was none of this process's, which nobody else removes.
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		state, parent, since, err := parseStat(string(text))
		if err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		if parent == os.Getpid() && state != "Z" {
			list = append(list, child{pid, since})
		}
	}
	return list, nil
}

// parseStat reads three fields of proc_pid_stat(5): the state, the parent, the time of the start.
func parseStat(text string) (state string, parent int, since uint64, err error) {
	// The program's name, in parentheses, may contain anything.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", 0, 0, fmt.Errorf("%d fields behind the name: want 20", len(fields))
	}
	if parent, err = strconv.Atoi(fields[1]); err == nil {
		since, err = strconv.ParseUint(fields[19], 10, 64)
	}
	return fields[0], parent, since, err
}

// succeeds tells whether a process was started as the successor of another. The environment is that
// of its start, whatever it has changed since.
func succeeds(pid int) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.HasPrefix(v, []byte(service.Variable+"=")) {
			return true
		}
	}
	return false
}
