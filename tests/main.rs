mod prototxt;
