//go:build !unix

package transport

// maxUnixPath is the longest path of a UNIX socket, in bytes.
const maxUnixPath = 107

const sizeofInet6 = usedInet6
