"""Reads what a question is about, clips and pictures, and keeps the frames by the content of the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

from stts_runtime import clock
from stts_runtime.bundle import Bundle
from stts_runtime.errors import BundleError
from stts_runtime.overlay import Image
from stts_runtime.serve import media
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.clip_kwargs import ClipKwargs
from stts_runtime.serve.engine_worker import EngineWorker
from stts_runtime.serve.look_cache import LookCache
from stts_runtime.serve.looks import ReadKey, ReadLook
from stts_runtime.serve.questions import Frames, Media, Question
from stts_runtime.serve.remote import fetched
from stts_runtime.serve.sent_frames import clip_of_frames
from stts_runtime.serve.settings import ServerSettings
from stts_runtime.serve.uploads import PREFIX, Upload, Uploads
from stts_runtime.session import Clip
from stts_runtime.video import VideoFile, rule_count


class LookReader:
    """For any thread of the server."""

    def __init__(
        self, bundle: Bundle, worker: EngineWorker, uploads: Uploads, cache: LookCache, settings: ServerSettings
    ) -> None:
        self._bundle, self._worker, self._uploads, self._cache = bundle, worker, uploads, cache
        self._limits, self._remote_urls = settings.limits, settings.remote_urls

    def read(self, about: Media | Frames, question: Question) -> ReadLook:
        """Read once, however many ask for it at the same time or soon. Raises `ApiError` or `SourceError`."""
        with self._folder_unnamed():
            return self._frames(about, question) if isinstance(about, Frames) else self._media(about, question)

    def _media(self, about: Media, question: Question) -> ReadLook:
        content, wanted, fps = self._content(about), question.wanted, question.clip.fps
        if isinstance(content, Upload):
            key = ReadKey(content.sha256, content.name, "clip", wanted, fps)
        else:
            kind = about.kind or media.kind_of(content, self._limits)
            if kind == "picture":
                _check_still(question.clip)
            key = ReadKey(sha256(content).digest(), kind, kind, wanted, fps)
        return self._cache.get("frames", key, lambda: self._read_media(content, key), _size_of)[0]

    def _read_media(self, content: bytes | Upload, key: ReadKey) -> ReadLook:
        if isinstance(content, Upload):
            assert content.clip is not None, "pictures come as bytes"
            return self._clip(content.clip, key)
        if key.kind == "picture":
            return self._worker.picture(media.picture(content, self._limits))
        with self._uploads.opened(content, key.name) as video:
            return self._clip(video, key)

    def _clip(self, video: VideoFile, key: ReadKey) -> ReadLook:
        wanted = key.wanted
        if key.fps is not None:
            wanted = replace(wanted, frames=rule_count(video.duration_seconds, key.fps))
        clip = Clip.of(self._bundle, video, wanted)
        return ReadLook(clip.window()[0], clip.variant, clip.notes)

    def _frames(self, about: Frames, question: Question) -> ReadLook:
        """Several pictures: all of them, in their order, are the content that it is kept by."""
        if len(about.pictures) > self._limits.clip_frames:
            raise ApiError(
                400, f"a clip may have {self._limits.clip_frames} frames, got {len(about.pictures)}", about.param
            )
        deadline = clock.now() + self._limits.decoding_seconds
        contents = self._contents(about, deadline)
        digest = sha256(b"".join(sha256(one).digest() for one in contents)).digest()
        key = ReadKey(digest, "pictures", "frames", question.wanted, question.clip.fps)

        def make() -> ReadLook:
            return clip_of_frames(
                self._images(about.pictures, contents, deadline), key.fps, self._bundle, key.wanted, about.param
            )

        return self._cache.get("frames", key, make, _size_of)[0]

    def _contents(self, about: Frames, deadline: float) -> list[bytes]:
        """Of each picture. Together they may have as many bytes as one clip, since all are in memory at once."""
        contents, size = list[bytes](), 0
        for one in about.pictures:
            self._check_time(one, deadline)
            content = self._content(one)
            if isinstance(content, Upload):
                raise ApiError(
                    400, f"{one.param} is a clip, and image_url takes pictures: send it as video_url", one.param
                )
            contents.append(content)
            size += len(content)
            if size > self._limits.upload_bytes:
                raise ApiError(
                    413, f"the pictures of a clip may have {self._limits.upload_bytes:,} bytes together", about.param
                )
        return contents

    def _images(self, pictures: Sequence[Media], contents: Sequence[bytes], deadline: float) -> Iterator[Image]:
        for one, content in zip(pictures, contents, strict=True):
            self._check_time(one, deadline)
            yield media.picture(content, self._limits)

    def _check_time(self, about: Media, deadline: float) -> None:
        if clock.now() > deadline:
            seconds = self._limits.decoding_seconds
            raise ApiError(413, f"reading the pictures takes more than {seconds:g} s", about.param)

    def _content(self, about: Media) -> bytes | Upload:
        """An upload where it is a clip, and is not asked about as a picture."""
        limits, url, param = self._limits, about.url.strip(), about.param
        if url.startswith(PREFIX):
            upload = self._uploads.get(url, param)
            if upload.clip is None or (about.kind == "picture" and upload.is_picture):
                return upload.path.read_bytes()
            return upload
        if media.is_data_url(url):
            return media.data_url(url, limits, param)
        if url.lower().startswith(("http://", "https://")):
            if not self._remote_urls:
                raise ApiError(
                    400,
                    "this server fetches nothing from other addresses (it was started without --allow-remote-urls); "
                    "send the content as a data URL, or upload it to /v1/files",
                    param,
                )
            return fetched(url, limits, param)
        wanted = f"{media.DATA_URL}, or the id of a file uploaded to /v1/files"
        theirs = "; this one the front end alone can open" if url.startswith(("/", "blob:")) else ""
        raise ApiError(400, f"{param} should be {wanted}{theirs}", param)

    @contextmanager
    def _folder_unnamed(self) -> Iterator[None]:
        """Where the bundle lies is nobody's business."""
        try:
            yield
        except BundleError as error:
            folder = self._bundle.folder
            raise ApiError(400, str(error).replace(str(folder), folder.name)) from None


def _check_still(clip: ClipKwargs) -> None:
    """Raises `ApiError` for what is said of frames where there is one."""
    if clip.fps is not None or clip.frames not in (None, 1):
        raise ApiError(400, f"{clip.param} is for clips, and one picture has one frame; leave it out", clip.param)


def _size_of(look: ReadLook) -> int:
    return look.size_bytes
