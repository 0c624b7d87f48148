package transport

import (
	"errors"
	"syscall"
)

// PosixError is for plug-ins and programs that use package net: to an error of windows' sockets it
// adds the syscall.Errno that names the same thing on other systems, and that the contract speaks
// of: errors.Is finds both, and the text stays. Any other error is returned as it is. FromNet does
// so by itself.
//
// On windows package net gives the numbers of winsock (WSAECONNREFUSED), and no system call ever
// returns syscall.ECONNREFUSED.
func PosixError(err error) error {
	var code syscall.Errno
	if err == nil || !errors.As(err, &code) {
		return err
	}
	if e := posix(code); e != 0 {
		return &winsockError{err, e}
	}
	return err
}

// A winsockError has the text of its error, and two causes.
type winsockError struct {
	error
	posix syscall.Errno
}

func (e *winsockError) Unwrap() []error { return []error{e.posix, e.error} }

// posix returns the errno of other systems that means the same as a number of winsock; 0 if there
// is none, and for the numbers of other systems, which are smaller. The numbers that say that a
// call would have to wait are left out: package net waits by itself.
func posix(code syscall.Errno) syscall.Errno {
	for _, e := range [...]struct{ winsock, posix syscall.Errno }{
		{10009, syscall.EBADF},
		{10013, syscall.EACCES},
		{10014, syscall.EFAULT},
		{10022, syscall.EINVAL},
		{10024, syscall.EMFILE},
		{10038, syscall.ENOTSOCK},
		{10039, syscall.EDESTADDRREQ},
		{10040, syscall.EMSGSIZE},
		{10042, syscall.ENOPROTOOPT},
		{10043, syscall.EPROTONOSUPPORT},
		{10045, syscall.EOPNOTSUPP},
		{10047, syscall.EAFNOSUPPORT},
		{10048, syscall.EADDRINUSE},
		{10049, syscall.EADDRNOTAVAIL},
		{10050, syscall.ENETDOWN},
		{10051, syscall.ENETUNREACH},
		{10052, syscall.ENETRESET},
		{10053, syscall.ECONNABORTED},
		{10054, syscall.ECONNRESET},
		{10055, syscall.ENOBUFS},
		{10056, syscall.EISCONN},
		{10057, syscall.ENOTCONN},
		{10058, syscall.EPIPE}, // WSAESHUTDOWN, of a write after CloseWrite
		{10060, syscall.ETIMEDOUT},
		{10061, syscall.ECONNREFUSED},
		{10064, syscall.EHOSTDOWN},
		{10065, syscall.EHOSTUNREACH},
	} {
		if e.winsock == code {
			return e.posix
		}
	}
	return 0
}
