package sys

const (
	SockaddrHasLen = false // struct sockaddr begins with sa_family
	AbstractNames  = true  // unix(7): a sun_path that begins with a NUL
)
