// Command pictures makes pictures for documents. It makes a screenshot smaller: it keeps the 256
// colours that are used most, and paints each other one in the nearest of these, and cuts off what
// is black at the right and below: the screen beside a window. Of what a program has printed in a
// terminal it draws the last screen. Of screenshots whose names are the milliseconds of their times
// it makes one picture that moves.
//
//	go run ./docs/site/pictures FROM.png TO.png
//	go run ./docs/site/pictures FROM.cast TO.svg
//	go run ./docs/site/pictures FROM/*.png TO.gif
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
	if len(os.Args) < 3 {
		log.Fatal("usage: pictures FROM.png TO.png, FROM.cast TO.svg, or FROM/*.png TO.gif")
	}
	from, to := os.Args[1:len(os.Args)-1], os.Args[len(os.Args)-1]
	var err error
	switch {
	case filepath.Ext(to) == ".gif":
		err = animate(from, to)
	case filepath.Ext(from[0]) == ".cast":
		err = draw(from[0], to)
	default:
		err = shrink(from[0], to)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func load(file string) (image.Image, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return png.Decode(in)
}

func shrink(from, to string) error {
	picture, err := load(from)
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
	return painted(picture, box, palette(256, box, picture))
}

// palette is the colours that are used most within a box.
func palette(many int, box image.Rectangle, pictures ...image.Image) color.Palette {
	uses := map[color.Color]int{}
	for _, picture := range pictures {
		for y := box.Min.Y; y < box.Max.Y; y++ {
			for x := box.Min.X; x < box.Max.X; x++ {
				uses[picture.At(x, y)]++
			}
		}
	}
	var colours color.Palette
	for c := range uses {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.Color) int { return cmp.Compare(uses[b], uses[a]) })
	return colours[:min(len(colours), many)]
}

func painted(picture image.Image, box image.Rectangle, colours color.Palette) *image.Paletted {
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
