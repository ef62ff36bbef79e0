//go:build race

package main

// raceDetector tells whether the tests have the race detector.
const raceDetector = true
