// Package pty runs programs in a pseudo-terminal, with keys that a test types. It is for Linux.
package pty
