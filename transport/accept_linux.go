package transport

import "syscall"

const errIsolated = syscall.ENONET // of ICMP: the other host is cut off
