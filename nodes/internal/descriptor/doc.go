// Package descriptor makes, passes on and closes the descriptors that the processes of a node
// share.
package descriptor
