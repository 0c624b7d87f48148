package main

import (
	"os"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
)

func main() {
	called := os.Args[min(1, len(os.Args)-1)]
	steps.Reached(called + ": begins")
	code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	steps.Reached(called + ": ends")
	os.Exit(code)
}
