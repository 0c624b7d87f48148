package nodes

// An inheritance is what a restored node has from the process before it, and nobody has taken yet.
type inheritance struct {
	blob []byte
}
