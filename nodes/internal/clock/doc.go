// Package clock is the clock that the processes of a machine share, by which the time that
// something takes is known although another process goes on with it.
package clock
