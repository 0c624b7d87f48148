package main

import "github.com/cnode-go/cnode/nodes/child"

func main() { child.Main(setup) }
