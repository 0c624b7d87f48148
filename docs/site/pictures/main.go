// Command pictures makes pictures for documents. It makes a screenshot smaller: it keeps the 256
// colours that are used most, and paints each other one in the nearest of these, and cuts off what
// is black at the right and below: the screen beside a window. Of what a program has printed in a
// terminal it draws the last screen.
//
//	go run ./docs/site/pictures FROM.png TO.png
//	go run ./docs/site/pictures FROM.cast TO.svg
package main

import (
	"cmp"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: pictures FROM.png TO.png, or FROM.cast TO.svg")
	}
	work := shrink
	if filepath.Ext(os.Args[1]) == ".cast" {
		work = draw
	}
	if err := work(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func shrink(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	picture, err := png.Decode(in)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(out, paletted(picture))
	return cmp.Or(err, out.Close())
}

// window is the part of a picture up to its last row and column that are not all black.
func window(picture image.Image) image.Rectangle {
	box := picture.Bounds()
	part := image.Rectangle{Min: box.Min, Max: box.Min}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			if r, g, b, _ := picture.At(x, y).RGBA(); r|g|b != 0 {
				part = part.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return part
}

func paletted(picture image.Image) *image.Paletted {
	box := window(picture)
	uses := map[color.Color]int{}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			uses[picture.At(x, y)]++
		}
	}
	var colours color.Palette
	for c := range uses {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.Color) int { return cmp.Compare(uses[b], uses[a]) })
	colours = colours[:min(len(colours), 256)]
	small := image.NewPaletted(box, colours)
	index := map[color.Color]uint8{}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			c := picture.At(x, y)
			i, known := index[c]
			if !known {
				i = uint8(colours.Index(c))
				index[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	return small
}
