"""The world outside: terminals, serial channels, disk images, the fetching of images.  It knows no machine."""
