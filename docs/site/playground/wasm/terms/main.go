//go:build js

// Terms is the part of the playground that a page loads first: see package term.
package main

import (
	"encoding/json"
	"syscall/js"

	"github.com/cnode-go/cnode/docs/site/playground/term"
)

func main() {
	convert := js.FuncOf(func(_ js.Value, args []js.Value) any {
		forms, err := term.Convert(args[0].String(), args[1].String(), args[2].String())
		answer := struct {
			term.Forms
			Error string `json:"error"`
		}{Forms: forms}
		if err != nil {
			answer.Error = err.Error()
		}
		text, err := json.Marshal(answer)
		if err != nil {
			panic(err) // it is plain text
		}
		return string(text)
	})
	js.Global().Get("cnodePlayground").Call("terms", convert)
	select {}
}
