//go:build js

// Nodes is the part of the playground that a page loads on demand: see packages pair and capture.
package main

import (
	"context"
	"encoding/json"
	"syscall/js"
	"time"

	"github.com/cnode-go/cnode/docs/site/playground/capture"
	"github.com/cnode-go/cnode/docs/site/playground/pair"
)

const patience = 30 * time.Second

func main() {
	js.Global().Get("cnodePlayground").Call("nodes", map[string]any{
		"run":  js.FuncOf(func(_ js.Value, args []js.Value) any { go run(args[0].String(), args[1], args[2]); return nil }),
		"read": js.FuncOf(func(_ js.Value, args []js.Value) any { return read(args[0], args[1]) }),
	})
	select {}
}

// run calls give with each event, then end with an error's text, or none.
func run(request string, give, end js.Value) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	end.Invoke(text(pair.Run(ctx, request, to(give))))
}

// read calls give with each event of a file, and returns an error's text.
func read(file, give js.Value) any {
	b := make([]byte, file.Length())
	js.CopyBytesToGo(b, file)
	r := capture.NewReader(to(give))
	if _, err := r.Write(b); err != nil {
		return text(err)
	}
	return text(r.Close())
}

func to(give js.Value) func(capture.Event) {
	return func(e capture.Event) {
		b, err := json.Marshal(e)
		if err != nil {
			panic(err) // it is plain text
		}
		give.Invoke(string(b))
	}
}

func text(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
