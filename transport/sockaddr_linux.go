package transport

const (
	sockaddrHasLen = false // struct sockaddr begins with sa_family
	abstractNames  = true  // unix(7): a sun_path that begins with a NUL
)
