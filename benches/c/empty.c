/* The floor of every preload: an object with nothing in it. */
typedef int nothing;
