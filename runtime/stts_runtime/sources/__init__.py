"""Where frames come from: files, folders, cameras and streams, behind one interface."""
