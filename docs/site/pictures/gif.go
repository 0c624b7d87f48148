package main

import (
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const rest = 300 // hundredths of a second that the last picture stays, before the first comes again

// animate makes a picture that moves: of each picture it keeps what differs from the one before.
func animate(from []string, to string) error {
	var pictures []image.Image
	var times []int // in hundredths of a second
	for _, file := range from {
		picture, err := load(file)
		if err != nil {
			return err
		}
		ms, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
		if err != nil {
			return fmt.Errorf("%s is not named after its time in milliseconds: %w", file, err)
		}
		pictures, times = append(pictures, picture), append(times, ms/10)
	}
	box := pictures[0].Bounds()
	colours := palette(63, box, pictures...)
	unchanged := uint8(len(colours))
	see := append(slices.Clone(colours), color.Transparent)
	var film gif.GIF
	var before *image.Paletted
	for i, picture := range pictures {
		now, stays := painted(picture, box, colours), rest
		if i+1 < len(times) {
			stays = times[i+1] - times[i]
		}
		part := changed(before, now)
		if part.Empty() {
			film.Delay[len(film.Delay)-1] += stays
			continue
		}
		frame := image.NewPaletted(part, see)
		for y := part.Min.Y; y < part.Max.Y; y++ {
			for x := part.Min.X; x < part.Max.X; x++ {
				c := now.ColorIndexAt(x, y)
				if before != nil && c == before.ColorIndexAt(x, y) {
					c = unchanged
				}
				frame.SetColorIndex(x, y, c)
			}
		}
		film.Image, film.Delay, film.Disposal = append(film.Image, frame), append(film.Delay, stays), append(film.Disposal, gif.DisposalNone)
		before = now
	}
	film.Config = image.Config{ColorModel: see, Width: box.Dx(), Height: box.Dy()}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	err = gif.EncodeAll(out, &film)
	return cmp.Or(err, out.Close())
}

// changed is the part of a picture that is not as before.
func changed(before, now *image.Paletted) (part image.Rectangle) {
	if before == nil {
		return now.Rect
	}
	for y := now.Rect.Min.Y; y < now.Rect.Max.Y; y++ {
		for x := now.Rect.Min.X; x < now.Rect.Max.X; x++ {
			if before.ColorIndexAt(x, y) != now.ColorIndexAt(x, y) {
				part = part.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return part
}
