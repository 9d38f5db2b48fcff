/* SPDX-License-Identifier: GPL-2.0-or-later */
/* image-format: what an image is that is not read and written as it stands. */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

/* The beginning of an image that tells. */
#define IMAGE_HEAD	8

/* "qcow2", "vmdk" ... by its first IMAGE_HEAD bytes, with zeroes for what is not there, or NULL. */
const char *image_format(const char *head);

#endif /* IMAGE_FORMAT_H */
