package main

import (
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnimate(t *testing.T) {
	dir := t.TempDir()
	picture := image.NewRGBA(image.Rect(0, 0, 9, 9))
	var from []string
	for i, at := range []int{0, 100, 250} { // the second is as the first
		picture.Set(5, 3, color.RGBA{R: uint8(i / 2 * 200), A: 255})
		from = append(from, filepath.Join(dir, fmt.Sprintf("%06d.png", at)))
		f, err := os.Create(from[i])
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, picture))
		require.NoError(t, f.Close())
	}
	to := filepath.Join(dir, "film.gif")
	require.NoError(t, animate(from, to))
	f, err := os.Open(to)
	require.NoError(t, err)
	defer f.Close()
	film, err := gif.DecodeAll(f)
	require.NoError(t, err)
	require.Equal(t, []int{25, rest}, film.Delay)
	require.Equal(t, image.Rect(5, 3, 6, 4), film.Image[1].Rect)
	require.Equal(t, color.RGBA{R: 200, A: 255}, film.Image[1].At(5, 3))
	require.Error(t, animate([]string{filepath.Join(dir, "film.gif")}, to))
}
