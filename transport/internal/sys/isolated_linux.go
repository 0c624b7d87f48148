package sys

import "syscall"

const ErrIsolated = syscall.ENONET // of ICMP: the other host is cut off
