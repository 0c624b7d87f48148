// Package chaos has nodes of one process do everything that package nodes can do, all at the same
// time, while connections are closed and nodes are frozen and thawed under them. It has tests only.
package chaos
