//go:build !unix

package main

import "os"

func endBy(os.Signal) {}
