// Package sys is the system calls of package transport, one a function, on numbers and bytes.
//
// On Linux calls that never wait are made without telling the scheduler, which would wake its
// monitor thread for each call, beside a peer that has work to do.
package sys
